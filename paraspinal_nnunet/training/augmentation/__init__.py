"""The paper's augmentation, and nnU-Net's without mirroring.

`transform` draws image i of the pool, `elastic` its field, `deformation` maps points through both and samples there,
`centers` finds where crops lie, `crops` reads training crops a case at a time, `on_device` a batch at a time from cases
that stay on the device, `export` writes whole images; `nnunet` wraps nnU-Net's own transforms.
"""

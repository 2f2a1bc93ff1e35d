"""The paper's augmentation, and nnU-Net's without mirroring.

`transform` draws image i of the pool, `elastic` its field, `deformation` maps points through both, `crops` reads
training crops of it, `augmentation_export` writes whole images; `nnunet` wraps nnU-Net's own transforms.
"""

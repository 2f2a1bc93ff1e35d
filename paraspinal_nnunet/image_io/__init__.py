"""Reading and writing images and label maps, and where their voxels lie in the patient."""

"""What tests make and run: scans, DICOM files, models, workflows, commands, a cluster."""

"""DICOM SEG: read as labels by its codes, and written from masks with coded segments."""

"""What DICOM results share, and those besides SEG: the measurement report, contours and the page of pictures."""

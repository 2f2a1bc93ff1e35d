"""From a raw data set to fingerprint, plans, folds and preprocessed cases."""

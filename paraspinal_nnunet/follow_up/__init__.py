"""Two time points of the same people side by side: what changed, and whether more than a second reading would."""

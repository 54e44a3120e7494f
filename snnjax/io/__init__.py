"""Files: checkpoints, records, data sets and NIR graphs."""

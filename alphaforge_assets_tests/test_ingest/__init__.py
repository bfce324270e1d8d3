"""Files of one's own through the pipeline."""

"""Average precision, matching of detections, intervals."""

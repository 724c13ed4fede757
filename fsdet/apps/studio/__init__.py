"""The studio: a web page to draw boxes, teach a category and correct detections."""

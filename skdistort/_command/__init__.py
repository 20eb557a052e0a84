"""What ``python -m skdistort`` does beside training and measuring: photos, embedders, the page."""

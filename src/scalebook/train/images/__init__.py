"""From image files on disk to arrays that ranks share."""

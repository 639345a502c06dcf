"""The pages as a site: its search, its icons, and how new pages take the place of old."""

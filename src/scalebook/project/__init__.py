"""What is checked, made and handed over around a study."""

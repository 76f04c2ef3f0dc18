"""Measurements, side by side with other tools in one run. They are no tests: nothing here passes or fails."""

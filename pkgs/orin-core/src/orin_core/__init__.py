"""What Orinix's commands share."""

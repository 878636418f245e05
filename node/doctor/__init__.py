"""What `roundabout doctor` checks, a file each; nothing here changes what a running daemon uses."""

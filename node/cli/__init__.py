"""The command `roundabout`: each subcommand is a file of its own and imports what it needs when it runs."""

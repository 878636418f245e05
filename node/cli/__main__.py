"""`python -m node.cli`: the command `roundabout` of this very checkout."""

from node.cli.main import main

if __name__ == "__main__":
    main(prog_name="roundabout")

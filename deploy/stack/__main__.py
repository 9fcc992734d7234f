"""python -m deploy.stack: the command line inside the environment."""

from deploy.stack.cli import main

main()

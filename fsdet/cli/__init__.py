"""The command line: `fsdet COMMAND`, one module a command."""

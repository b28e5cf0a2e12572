"""An integer network as a program of other runtimes."""

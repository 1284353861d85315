"""Where a library is executed: this machine, later an emulator or another machine."""

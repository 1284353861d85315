"""x86: levels, features, the host's processor, and what LLVM knows of it."""

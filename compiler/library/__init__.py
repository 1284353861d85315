"""What a library is: the plan, its signature, its file, and how Python runs it; no TVM."""

"""C sources that go into every emitted library: the glue's templates and the thread pool."""

"""Compiler options of tests in which most of the time is compilation."""

FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

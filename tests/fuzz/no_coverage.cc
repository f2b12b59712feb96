// For the programs that link instrumented rooms and do not fuzz.
extern "C" void __sanitizer_cov_trace_pc() {}

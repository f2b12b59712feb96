// GCC also tells of comparisons of floats, for which neither its runtime nor libFuzzer has a function.
extern "C" {
void __sanitizer_cov_trace_cmpf(float, float) {}
void __sanitizer_cov_trace_cmpd(double, double) {}
}

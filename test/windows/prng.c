// bcryptprimitives.dll for a wine that has none, as wine 8: Go takes its random
// numbers from there.
#include <immintrin.h>

__declspec(dllexport) int ProcessPrng(unsigned char *data, unsigned long long size) {
	for (unsigned long long i = 0; i < size; i++) {
		unsigned long long word;
		while (!_rdrand64_step(&word)) {
		}
		data[i] = (unsigned char)word;
	}
	return 1;
}

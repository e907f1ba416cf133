// For wineserver alone. Where it can list interfaces, wine 8 binds a UDP socket
// whose address is on none of them (127.0.1.1) to all addresses: its answers
// come from another one than was asked.
#include <errno.h>

int getifaddrs(void **list) {
	*list = 0;
	errno = ENOSYS;
	return -1;
}

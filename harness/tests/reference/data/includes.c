// SPDX-License-Identifier: MIT OR Apache-2.0
/* A text with headers beside it and elsewhere. */
#include "near.h"
#include <far.h>

BPF_ARRAY(out, u64, 1);

int kprobe__vfs_read(void *ctx)
{
	int zero = 0;
	u64 v = NEAR + FAR;

	out.update(&zero, &v);
	return 0;
}

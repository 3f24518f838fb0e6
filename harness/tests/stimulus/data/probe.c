// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A library with a function and a statically defined probe, whose note is what <sys/sdt.h> would make: the compiler says
 * where the arguments are. Compiled by
 *
 *     clang-19 -target x86_64-linux-gnu -O1 -fPIC -shared -nostdlib -s -Wl,-soname,libprobe.so.1 -Wl,--build-id=none \
 *         -Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code -o libprobe.so probe.c
 */

#define NOTE(provider, name, args, ...)                                                                                \
	__asm__ volatile("990: nop\n"                                                                                  \
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                 \
			 ".balign 4\n"                                                                                 \
			 ".4byte 992f-991f, 994f-993f, 3\n"                                                            \
			 "991: .asciz \"stapsdt\"\n"                                                                   \
			 "992: .balign 4\n"                                                                            \
			 "993: .8byte 990b\n"                                                                          \
			 ".8byte _.stapsdt.base\n"                                                                     \
			 ".8byte 0\n"                                                                                  \
			 ".asciz \"" provider "\"\n"                                                                   \
			 ".asciz \"" name "\"\n"                                                                       \
			 ".asciz \"" args "\"\n"                                                                       \
			 "994: .balign 4\n"                                                                            \
			 ".popsection\n"                                                                               \
			 ".ifndef _.stapsdt.base\n"                                                                    \
			 ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                       \
			 ".weak _.stapsdt.base\n"                                                                      \
			 ".hidden _.stapsdt.base\n"                                                                    \
			 "_.stapsdt.base: .space 1\n"                                                                  \
			 ".size _.stapsdt.base, 1\n"                                                                   \
			 ".popsection\n"                                                                               \
			 ".endif\n" ::__VA_ARGS__)

/* How many times a character is in a text, and minus one if there is none. */
int occurrences(const char *text, int wanted, unsigned long limit)
{
	int found = 0;

	for (unsigned long i = 0; i < limit && text[i]; i++)
		found += text[i] == wanted;
	return found ? found : -1;
}

/* Passes the probe: an argument in a register, one in memory, one that is constant. */
int pass(int code, long amount)
{
	volatile long kept = amount;

	NOTE("job", "passed", "-4@%0 8@%1 2@%2", "r"(code), "m"(kept), "i"(7));
	return code;
}

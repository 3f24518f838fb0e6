// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A library with two statically defined probes, one of them at two places and with a semaphore, without <sys/sdt.h>:
 * the notes are what that header would make. Only its ELF file is read, it is never run. Compiled by
 *
 *     clang-19 -target x86_64-linux-gnu -O1 -fPIC -shared -nostdlib -s -Wl,-soname,libserver.so.1 -Wl,--build-id=none \
 *         -Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code -o libserver.so server.c
 */

#define NOTE(provider, name, semaphore, args)                                                                          \
	__asm__ volatile("990: nop\n"                                                                                  \
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                                 \
			 ".balign 4\n"                                                                                 \
			 ".4byte 992f-991f, 994f-993f, 3\n"                                                            \
			 "991: .asciz \"stapsdt\"\n"                                                                   \
			 "992: .balign 4\n"                                                                            \
			 "993: .8byte 990b\n"                                                                          \
			 ".8byte _.stapsdt.base\n"                                                                     \
			 ".8byte " semaphore "\n"                                                                      \
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
			 ".endif\n")

__attribute__((section(".probes"), visibility("hidden"))) volatile unsigned short request_semaphore;
volatile int requests;

int handle(int fd)
{
	requests++;
	NOTE("http", "request", "request_semaphore", "8@%rdi -4@-20(%rbp)");
	return fd;
}

int handle_again(int fd)
{
	requests--;
	NOTE("http", "request", "request_semaphore", "8@$7 -4@requests(%rip)");
	return -fd;
}

void finish(void)
{
	NOTE("http", "done", "0", "");
}

/* What start-up code offers to the program that runs a model. */
#ifndef TILEWRIGHT_STARTUP_H
#define TILEWRIGHT_STARTUP_H

#include <stddef.h>
#include <stdint.h>

/* Ends the emulation with an exit code. */
void leave(int code);

/* The next bytes of inputs.bin, and of outputs.bin. */
void read_input(void *memory, size_t size);
void write_output(const void *memory, size_t size);

/* Ticks of the clock from start to stop. */
void start_clock(void);
uint32_t stop_clock(void);

/* Fills the stack below the caller with a pattern, and how many bytes of it were used since. */
uint32_t *paint_stack(void);
uint32_t painted_over(const uint32_t *top);

#endif

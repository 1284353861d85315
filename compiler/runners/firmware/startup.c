/* Start-up code for an emulated Cortex-M: vectors, memory, the host's files by semihosting, a clock, a painted stack. */
#include "startup.h"

#include <stddef.h>

extern uint32_t stack_limit[], stack_top[], data_source[], data_begin[], data_end[], bss_begin[], bss_end[];

int main(void);

static int host(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void leave(int code) {
  const uint32_t block[2] = {0x20026, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
  for (;;) host(0x20, block);
}

static void fault(void) {
  host(4, "fault\n");
  leave(3);
}

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the units for floats and vectors, where there are some */
  __asm__ volatile("dsb\n\tisb");
  for (uint32_t *to = data_begin, *from = data_source; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
  leave(main());
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault};

static int open_file(const char *name, int mode) {
  size_t length = 0;
  while (name[length]) ++length;
  const void *block[3] = {name, (void *)mode, (void *)length};
  const int file = host(1, block);
  if (file < 0) leave(4);
  return file;
}

static void transfer(int operation, int file, const void *memory, size_t size) {
  const void *block[3] = {(void *)file, memory, (void *)size};
  if (size && host(operation, block) != 0) leave(5);
}

static int files[2] = {-1, -1};

void read_input(void *memory, size_t size) {
  if (files[0] < 0) files[0] = open_file("inputs.bin", 1);
  transfer(6, files[0], memory, size);
}

void write_output(const void *memory, size_t size) {
  if (files[1] < 0) files[1] = open_file("outputs.bin", 5);
  transfer(5, files[1], memory, size);
}

/* SysTick counts the processor's clock down in 24 bits. */
#define CONTROL (*(volatile uint32_t *)0xE000E010)
#define RELOAD (*(volatile uint32_t *)0xE000E014)
#define CURRENT (*(volatile uint32_t *)0xE000E018)
#define MAXIMUM 0xFFFFFFu

void start_clock(void) {
  RELOAD = MAXIMUM;
  CURRENT = 0;
  CONTROL = 5;
}

uint32_t stop_clock(void) {
  const uint32_t now = CURRENT;
  if (CONTROL & 1u << 16) leave(6); /* it passed zero: the run is too long for it */
  return MAXIMUM - now;
}

#define PAINT 0xA5C3F00Du

/* Paints what is free below this function's frame. */
__attribute__((noinline)) uint32_t *paint_stack(void) {
  uint32_t *top;
  __asm__ volatile("mov %0, sp" : "=r"(top));
  for (uint32_t *each = stack_limit; each < top - 16; ++each) *(volatile uint32_t *)each = PAINT;
  return top;
}

uint32_t painted_over(const uint32_t *top) {
  const uint32_t *each = stack_limit;
  while (each < top && *(const volatile uint32_t *)each == PAINT) ++each;
  return (uint32_t)((const unsigned char *)top - (const unsigned char *)each);
}

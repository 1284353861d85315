/* How threads sleep until a word changes: Linux's futex; elsewhere, and with TILEWRIGHT_NO_FUTEX, one mutex and one
 * condition for all words, which wake more threads than need be. Included by thread_pool.c. */
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__linux__) && !defined(TILEWRIGHT_NO_FUTEX)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifdef SYS_futex
/* Sleeps if the word has this value, until it is woken; may also wake for no reason. */
static void word_sleep(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* Wakes who sleeps on a word; to be called after the word was changed. */
static void word_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

/* In a forked child: nobody sleeps. */
static void word_forget_sleepers(void) {}
#else
static pthread_mutex_t word_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t word_changed = PTHREAD_COND_INITIALIZER;

static void word_sleep(_Atomic uint32_t *word, uint32_t value) {
  pthread_mutex_lock(&word_mutex);
  while (atomic_load(word) == value) pthread_cond_wait(&word_changed, &word_mutex);
  pthread_mutex_unlock(&word_mutex);
}

static void word_wake(_Atomic uint32_t *word) {
  (void)word;
  pthread_mutex_lock(&word_mutex);
  pthread_cond_broadcast(&word_changed);
  pthread_mutex_unlock(&word_mutex);
}

static void word_forget_sleepers(void) {
  static const pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  word_mutex = mutex;
  word_changed = condition;
}
#endif

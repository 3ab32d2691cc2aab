#define _GNU_SOURCE
#include "thread.h"

#include <signal.h>
#include <stddef.h>

int start_thread(pthread_t *thread, void *(*run)(void *), void *of) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failure = pthread_create(thread, NULL, run, of);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failure;
}

napi_threadsafe_function new_callback(napi_env env, napi_value done, const char *name,
                                      napi_threadsafe_function_call_js tell) {
  napi_value text;
  napi_threadsafe_function result = NULL;
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text);
  napi_create_threadsafe_function(env, done, NULL, text, 0, 1, NULL, NULL, NULL, tell, &result);
  return result;
}

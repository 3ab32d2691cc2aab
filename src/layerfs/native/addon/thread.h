/* Threads of the addon beside those of Node. */
#ifndef THREAD_H
#define THREAD_H

#include <node_api.h>
#include <pthread.h>

/* Starts one that gets no signals: those are for the threads that Node runs. 0, or what failed. */
int start_thread(pthread_t *thread, void *(*run)(void *), void *of);

/*
 * What such a thread calls, once, to have JavaScript's `done` called by `tell`. NULL: it is no function,
 * or there is no memory. `name` is for who debugs Node.
 */
napi_threadsafe_function new_callback(napi_env env, napi_value done, const char *name,
                                      napi_threadsafe_function_call_js tell);

#endif

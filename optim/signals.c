// signals.c -- SIGINT and SIGTERM ask a run to stop in good order; a second one does what it always did.
#include <signal.h>
#include <string.h>

#include "optim.h"

static volatile sig_atomic_t caught;

static void handle(int number) {
    caught = number;
}

void optim_catch_signals(bool on) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on ? handle : SIG_DFL;
    action.sa_flags = (int)SA_RESETHAND;  // for the second one
    sigemptyset(&action.sa_mask);
    caught = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int optim_signal_caught(void) {
    return caught;
}

"""The command `touchpoint`, also `python -m streams`: Ctrl-C gives no traceback, however early it comes."""

import contextlib
import gc
import os
import signal

STDERR = 2

INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C has ended."""

ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy reads it when imported. With more threads a window sum spun for up to 70 ms on a busy machine,
waiting for a second thread that had no core; alone it takes under 2 ms."""

COLLECT_AFTER = (100_000, 20, 20)
"""How many new objects have Python look for garbage in cycles. Its default, 700, took a tenth of a start; a
scrape makes thousands for a moment, which reference counts free."""


def main() -> None:
    """Entry point of the console script."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)
        gc.set_threshold(*COLLECT_AFTER)
        os.environ.update(ONE_BLAS_THREAD)  # before numpy comes with the commands
        from streams.commands.main import main as command  # takes a fifth of a second

        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what is under way cleans up
        command()
    except KeyboardInterrupt:
        _leave()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer says nothing then
            _leave()
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said; Python itself is ending
        gc.freeze()  # which else would look for cycles in all there is, for up to 0.2 s


def _leave(*_: object) -> None:
    """End at once. Python's own way out may still kill the process by SIGINT instead: it remembers a Ctrl-C
    in code that is made from text, as every dataclass is, also when that was caught
    (https://github.com/python/cpython/blob/v3.11.7/Python/pythonrun.c, `run_eval_code_obj`)."""
    with contextlib.suppress(OSError):  # nobody to complain to
        os.write(STDERR, b"touchpoint: stopped\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()

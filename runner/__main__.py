"""`python -m runner` is the `caffe` command."""

from runner.start import main

if __name__ == "__main__":
    main()

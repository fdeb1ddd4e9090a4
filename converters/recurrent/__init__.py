"""Recurrent layers of packages rnn, torch/rnn and cudnn."""

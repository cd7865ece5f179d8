"""What tests have on PyTorch: one thread, and tensors that NumPy takes."""

import torch

torch.set_num_threads(1)
_ARRAY = torch.Tensor.__array__


def _array(self, dtype=None, copy=None):
    # NumPy has no bfloat16.
    known = self.float() if self.dtype == torch.bfloat16 else self
    array = _ARRAY(known.detach(), dtype)
    return array.copy() if copy else array


# As on the other backends, also of what can yet be differentiated.
torch.Tensor.__array__ = _array

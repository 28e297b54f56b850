"""The backend `openrlhf` of the trainer `sft`: demonstrations learnt by OpenRLHF's SFT trainer on DeepSpeed, without Ray."""

"""Architectures that read, write and listen."""

from __future__ import annotations

import torch

from .model import Hub, Model, pair, tokens

_BERT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
_LLAMA = {**_BERT, "num_key_value_heads": 2}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_SPECIAL = {**_LLAMA, **_IDS}
_GPT = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40}
_T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_BART = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 40,
}
_SOUND = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 3),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_NO_CACHE = {"use_cache": False}


def _wave() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(1, 1600)}


LANGUAGE = (
    Model("BERT", "text encoder", Hub("BertModel", "BertConfig", _BERT), tokens()),
    Model("RoBERTa", "text encoder", Hub("RobertaModel", "RobertaConfig", _BERT), tokens()),
    Model("DeBERTa v2", "text encoder", Hub("DebertaV2Model", "DebertaV2Config", {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}), tokens()),
    Model("DistilBERT", "text encoder", Hub("DistilBertModel", "DistilBertConfig", {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}), tokens()),
    Model("ALBERT", "text encoder", Hub("AlbertModel", "AlbertConfig", {**_BERT, "embedding_size": 16}), tokens()),
    Model("ELECTRA", "text encoder", Hub("ElectraModel", "ElectraConfig", {**_BERT, "embedding_size": 16}), tokens()),
    Model("MPNet", "text encoder", Hub("MPNetModel", "MPNetConfig", _BERT), tokens()),
    Model("ModernBERT", "text encoder", Hub("ModernBertModel", "ModernBertConfig", {**_BERT, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}), tokens()),
    Model("T5, its encoder", "text encoder", Hub("T5EncoderModel", "T5Config", _T5), tokens()),
    Model("T5", "translation", Hub("T5ForConditionalGeneration", "T5Config", _T5), pair()),
    Model("BART", "translation", Hub("BartForConditionalGeneration", "BartConfig", _BART), pair()),
    Model("GPT-2", "text decoder", Hub("GPT2LMHeadModel", "GPT2Config", _GPT), tokens(**_NO_CACHE)),
    Model("GPT-NeoX", "text decoder", Hub("GPTNeoXForCausalLM", "GPTNeoXConfig", _BERT), tokens(**_NO_CACHE)),
    Model("OPT", "text decoder", Hub("OPTForCausalLM", "OPTConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 40, "word_embed_proj_dim": 32}), tokens(**_NO_CACHE)),
    Model("Llama", "text decoder", Hub("LlamaForCausalLM", "LlamaConfig", _LLAMA), tokens(**_NO_CACHE)),
    Model("Mistral", "text decoder", Hub("MistralForCausalLM", "MistralConfig", _LLAMA), tokens(**_NO_CACHE)),
    Model("Qwen2", "text decoder", Hub("Qwen2ForCausalLM", "Qwen2Config", _LLAMA), tokens(**_NO_CACHE)),
    Model("Qwen3", "text decoder", Hub("Qwen3ForCausalLM", "Qwen3Config", {**_LLAMA, "head_dim": 8}), tokens(**_NO_CACHE)),
    Model("Gemma", "text decoder", Hub("GemmaForCausalLM", "GemmaConfig", {**_LLAMA, "head_dim": 8}), tokens(**_NO_CACHE)),
    Model("Phi", "text decoder", Hub("PhiForCausalLM", "PhiConfig", _BERT), tokens(**_NO_CACHE)),
    Model("Mamba", "state space", Hub("MambaForCausalLM", "MambaConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "intermediate_size": 64}), tokens(6, **_NO_CACHE)),
    Model("RWKV", "recurrent", Hub("RwkvForCausalLM", "RwkvConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "context_length": 16}), tokens(6, **_NO_CACHE)),
    Model("xLSTM", "recurrent", Hub("xLSTMForCausalLM", "xLSTMConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4, "chunk_size": 8, "mode": "inference"}), tokens(8, **_NO_CACHE)),
    Model("wav2vec 2.0", "speech", Hub("Wav2Vec2ForCTC", "Wav2Vec2Config", {**_SOUND, "vocab_size": 32}), _wave),
    Model("HuBERT", "speech", Hub("HubertModel", "HubertConfig", _SOUND), _wave),
    Model("Whisper", "speech", Hub("WhisperForConditionalGeneration", "WhisperConfig", {**_BART, "num_mel_bins": 16, "max_source_positions": 20, "max_target_positions": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}), lambda: {"input_features": torch.randn(1, 16, 40), "decoder_input_ids": torch.randint(1, 99, (1, 5)), **_NO_CACHE}),
    Model("Audio Spectrogram Transformer", "sound", Hub("ASTForAudioClassification", "ASTConfig", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "patch_size": 8, "max_length": 32, "num_mel_bins": 16}), lambda: {"input_values": torch.randn(1, 32, 16)}),
    Model("Gemma 2", "text decoder", Hub("Gemma2ForCausalLM", "Gemma2Config", {**_SPECIAL, "head_dim": 8, "sliding_window": 4}), tokens(**_NO_CACHE)),
    Model("Gemma 3", "text decoder", Hub("Gemma3ForCausalLM", "Gemma3TextConfig", {**_SPECIAL, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"]}), tokens(**_NO_CACHE)),
    Model("Granite", "text decoder", Hub("GraniteForCausalLM", "GraniteConfig", _SPECIAL), tokens(**_NO_CACHE)),
    Model("LFM2", "text decoder", Hub("Lfm2ForCausalLM", "Lfm2Config", {**_SPECIAL, "block_multiple_of": 8, "layer_types": ["conv", "full_attention"]}), tokens(**_NO_CACHE)),
    Model("Zamba2", "state space", Hub("Zamba2ForCausalLM", "Zamba2Config", {**_SPECIAL, "mamba_d_state": 8, "n_mamba_heads": 4, "mamba_headdim": 16, "chunk_size": 8, "layers_block_type": ["mamba", "hybrid"], "adapter_rank": 8, "num_mem_blocks": 1}), tokens(8, **_NO_CACHE)),
    Model("Mamba 2", "state space", Hub("Mamba2ForCausalLM", "Mamba2Config", {**_IDS, "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}), tokens(8, **_NO_CACHE)),
    Model("RecurrentGemma", "recurrent", Hub("RecurrentGemmaForCausalLM", "RecurrentGemmaConfig", {**_IDS, "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "attention_window_size": 8, "lru_width": 32}), tokens(6, **_NO_CACHE)),
    Model("Phi-3", "text decoder", Hub("Phi3ForCausalLM", "Phi3Config", _SPECIAL), tokens(**_NO_CACHE)),
    Model("OLMo 2", "text decoder", Hub("Olmo2ForCausalLM", "Olmo2Config", _SPECIAL), tokens(**_NO_CACHE)),
    Model("NomicBERT", "text encoder", Hub("NomicBertModel", "NomicBertConfig", {**_BERT, **_IDS}), tokens()),
    Model("MobileBERT", "text encoder", Hub("MobileBertModel", "MobileBertConfig", {**_BERT, "intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16}), tokens()),
    Model("WavLM", "speech", Hub("WavLMModel", "WavLMConfig", _SOUND), _wave),
    Model("SpeechT5's vocoder", "speech", Hub("SpeechT5HifiGan", "SpeechT5HifiGanConfig", {"model_in_dim": 8, "upsample_initial_channel": 16, "upsample_rates": [2, 2], "upsample_kernel_sizes": [4, 4], "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}), lambda: {"spectrogram": torch.randn(1, 10, 8)}),
    Model("PatchTST", "time series", Hub("PatchTSTForPrediction", "PatchTSTConfig", {"num_input_channels": 2, "context_length": 32, "patch_length": 8, "patch_stride": 8, "num_hidden_layers": 2, "d_model": 32, "ffn_dim": 64, "prediction_length": 6, "loss": "mse"}), lambda: {"past_values": torch.randn(1, 32, 2)}),
)  # fmt: skip

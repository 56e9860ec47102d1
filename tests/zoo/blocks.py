"""Blocks that other people wrote, as one names them to `--block`: by package, with the layout of what they take.

`adapters` are ours, around blocks that want more than a map.
"""

from typing import NamedTuple


class Block(NamedTuple):
    """A block of a package: how it is named, what it takes, and in what it can't be run."""

    package: str
    text: str
    layout: str = "nchw"
    inputs: int = 1
    modes: tuple[str, ...] = ("eval", "train")

    def __str__(self):
        return self.text


# Name on PyPI, and of the module that it brings.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "axial-attention": "axial_attention",
    "lambda-networks": "lambda_networks",
    "halonet-pytorch": "halonet_pytorch",
    "bottleneck-transformer-pytorch": "bottleneck_transformer_pytorch",
    "linear-attention-transformer": "linear_attention_transformer",
    "local-attention": "local_attention",
    "performer-pytorch": "performer_pytorch",
    "vit-pytorch": "vit_pytorch",
    "x-transformers": "x_transformers",
    "nystrom-attention": "nystrom_attention",
    "linformer": "linformer",
    "deformable-attention": "deformable_attention",
    "agent-attention-pytorch": "agent_attention_pytorch",
    "taylor-series-linear-attention": "taylor_series_linear_attention",
    "memory-efficient-attention-pytorch": "memory_efficient_attention_pytorch",
    "isab-pytorch": "isab_pytorch",
    "involution-pytorch": "involution_pytorch",
    "self-attention-cv": "self_attention_cv",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "kornia": "kornia",
    "transformers": "transformers",
    "mambapy": "mambapy",
    "fightingcv-attention": "fightingcv_attention",
    "reformer-pytorch": "reformer_pytorch",
    "g-mlp-pytorch": "g_mlp_pytorch",
    "perceiver-pytorch": "perceiver_pytorch",
}

# A text a line, then the layout and the number of inputs where they are others than one map's.
_TEXTS = {
    "torch": """
        zoo_adapters:MultiHead
        zoo_adapters:MultiHead(need_weights=True)
        torch.nn:MultiheadAttention(num_heads=4, batch_first=True)  nlc 3
        torch.nn:MultiheadAttention(num_heads=4, batch_first=True, add_bias_kv=True)  nlc 3
        torch.nn:TransformerEncoderLayer(nhead=4, batch_first=True)  nlc
        torch.nn:TransformerDecoderLayer(nhead=4, batch_first=True)  nlc 2
        zoo_adapters:Attention
        zoo_adapters:Attention(attn_mask=None, dropout_p=0.0, is_causal=False)
        zoo_adapters:Attention(is_causal=True)
        zoo_adapters:Banded
        zoo_adapters:Grouped
        zoo_adapters:Flex  eval
        zoo_adapters:Fourier
        zoo_adapters:GlobalFilter
        zoo_adapters:ReNet
        zoo_adapters:ReNet(kind="GRU")
        zoo_adapters:Unfolded
        zoo_adapters:Distance
        zoo_adapters:Sampled
        zoo_adapters:Checkpointed
        zoo_adapters:Checkpointed(reentrant=True)
        zoo_adapters:compiled
        zoo_adapters:scripted
        zoo_adapters:Mapped
        zoo_adapters:spectral
        zoo_adapters:Eigen
        zoo_adapters:Sparse
        zoo_adapters:Nested
        zoo_adapters:Table
        zoo_adapters:PlainTable
        torch.nn:ConvTranspose2d(64, 64, 4, stride=2, padding=1, bias=False)
        torch.nn:Bilinear(64, 64, 32)  nlc 2
        torch.nn:LSTM(64, 32, batch_first=True, bidirectional=True)  nlc
        torch.nn:LazyConv2d(64, 3)
        torch.nn:LazyBatchNorm2d
        torch.nn:BatchNorm2d(momentum=None)
        torch.nn:SyncBatchNorm
    """,
    "torchvision": """
        zoo_adapters:Deformable
        torchvision.ops:SqueezeExcitation(64, 16)
        torchvision.models.swin_transformer:ShiftedWindowAttention(64, [8, 8], [4, 4], 4)  nhwc
        torchvision.models.swin_transformer:ShiftedWindowAttentionV2(64, [8, 8], [4, 4], 4)  nhwc
        torchvision.models.segmentation.deeplabv3:ASPP(64, [6, 12, 18])
        torchvision.models.vision_transformer:EncoderBlock(4, 64, 128, 0.0, 0.0)  nlc
    """,
    "timm": """
        timm.layers:NonLocalAttn(rd_channels=32)
        timm.layers:BatNonLocalAttn(block_size=8, rd_channels=32)
        timm.layers:HaloAttn(block_size=8, halo_size=3, num_heads=4, dim_head=8)
        timm.layers:BottleneckAttn(feat_size=(32, 32), num_heads=4, dim_head=8)
        timm.layers:LambdaLayer(num_heads=4, dim_head=16, r=9)
        timm.layers:LambdaLayer(feat_size=(32, 32), num_heads=4, dim_head=16)
        timm.layers:GlobalContext
        timm.layers.cbam:CbamModule
        timm.layers:EcaModule
        timm.layers:SplitAttn
        timm.layers:SelectiveKernel
        timm.layers:MultiQueryAttentionV2(num_heads=4, key_dim=8, value_dim=8)
        timm.layers.attention2d:Attention2d(num_heads=4)
        timm.layers:AttentionPool2d(feat_size=32, num_heads=4)
        timm.layers:DiffAttention(num_heads=4)  nlc
        timm.models.xcit:XCA(num_heads=4)  nlc
        timm.models.focalnet:FocalModulation(focal_window=3, focal_level=2)
        timm.models.davit:SpatialBlock(num_heads=4, window_size=7)
        timm.models.volo:OutlookAttention(num_heads=4)  nhwc
        timm.models.swin_transformer_v2:SwinTransformerV2Block(64, (32, 32), 4, window_size=8, shift_size=4)  nhwc
        timm.models.efficientvit_mit:LiteMLA(64, 64)
        timm.models.mobilevit:MobileVitV2Block(64)
        timm.models.levit:Attention(key_dim=16, num_heads=4, resolution=(32, 32))  nlc
        timm.models.vision_transformer_sam:Block(num_heads=4, window_size=7)  nhwc
        zoo_adapters:PyramidVision
        zoo_adapters:PyramidVision(linear=True)
    """,
    "axial-attention": """
        axial_attention:AxialAttention(dim_index=1, heads=4, dim_heads=8)
        axial_attention:AxialImageTransformer(depth=2, heads=4, dim_heads=8, reversible=True)
    """,
    "lambda-networks": """
        lambda_networks:LambdaLayer(dim_out=64, r=7, dim_k=16, heads=4, dim_u=1)
        lambda_networks:LambdaLayer(dim_out=64, n=32, dim_k=16, heads=4, dim_u=1)
    """,
    "halonet-pytorch": """
        halonet_pytorch:HaloAttention(block_size=8, halo_size=4, dim_head=8, heads=4)
    """,
    "bottleneck-transformer-pytorch": """
        bottleneck_transformer_pytorch.bottleneck_transformer_pytorch:Attention(fmap_size=(32, 32), dim_head=8)
        bottleneck_transformer_pytorch:BottleStack(fmap_size=32, dim_out=64, num_layers=1, dim_head=8, downsample=False)
    """,
    "linear-attention-transformer": """
        linear_attention_transformer.images:ImageLinearAttention(64, heads=4, key_dim=8, value_dim=8)
        linear_attention_transformer:LinearAttentionTransformer(64, 1, 1024, heads=4, reversible=True)  nlc
    """,
    "local-attention": """
        local_attention:LocalMHA(window_size=64, dim_head=8, heads=4)  nlc
    """,
    "performer-pytorch": """
        performer_pytorch:SelfAttention(heads=4, dim_head=8)  nlc
        performer_pytorch:Performer(depth=1, heads=4, dim_head=8)  nlc
    """,
    "vit-pytorch": """
        vit_pytorch.vit:Attention(heads=4, dim_head=8)  nlc
        vit_pytorch.cvt:Attention(proj_kernel=3, kv_proj_stride=2, heads=4, dim_head=8)
        vit_pytorch.twins_svt:LocalAttention(heads=4, dim_head=8, patch_size=8)
        vit_pytorch.sep_vit:DSSA(heads=4, dim_head=8, window_size=8)
        vit_pytorch.crossformer:Attention(attn_type="long", window_size=8, dim_head=8)
        vit_pytorch.mobile_vit:MobileViTBlock(32, 1, 64, 3, (2, 2), 128)
        vit_pytorch.xcit:XCAttention(heads=4, dim_head=8)  nlc
    """,
    "x-transformers": """
        x_transformers:Attention(heads=4, dim_head=8)  nlc
        x_transformers:Attention(heads=4, dim_head=8, flash=True)  nlc
        x_transformers:Attention(heads=4, dim_head=8, sparse_topk=16)  nlc
        x_transformers:Encoder(dim=64, depth=1, heads=4, rotary_pos_emb=True)  nlc
        x_transformers:Encoder(dim=64, depth=1, heads=4, attn_kv_heads=2, attn_flash=True)  nlc
    """,
    "nystrom-attention": """
        nystrom_attention:NystromAttention(dim_head=8, heads=4, num_landmarks=64)  nlc
    """,
    "linformer": """
        linformer:LinformerSelfAttention(seq_len=1024, k=64, heads=4, dim_head=8)  nlc
        linformer:Linformer(seq_len=1024, depth=1, k=64, heads=4, reversible=True)  nlc
    """,
    "deformable-attention": """
        deformable_attention:DeformableAttention2D(dim_head=8, heads=4)
    """,
    "agent-attention-pytorch": """
        agent_attention_pytorch:AgentSelfAttention(num_agent_tokens=49, heads=4, dim_head=8)  nlc
    """,
    "taylor-series-linear-attention": """
        taylor_series_linear_attention:TaylorSeriesLinearAttn(dim_head=16, heads=4)  nlc
    """,
    "memory-efficient-attention-pytorch": """
        memory_efficient_attention_pytorch:Attention(dim_head=8, heads=4, memory_efficient=True)  nlc
    """,
    "isab-pytorch": """
        isab_pytorch:ISAB(heads=4, num_latents=32)  nlc
    """,
    "involution-pytorch": """
        involution_pytorch:Inv2d(channels=64, kernel_size=7, stride=1, group_ch=16, red_ratio=4)
    """,
    "self-attention-cv": """
        self_attention_cv:AxialAttentionBlock(in_channels=64, dim=32, heads=4)
        self_attention_cv:MultiHeadSelfAttention(heads=4)  nlc
    """,
    "segmentation-models-pytorch": """
        segmentation_models_pytorch.decoders.pan.decoder:FPABlock(out_channels=64)
        segmentation_models_pytorch.decoders.pan.decoder:GAUBlock(out_channels=64)  nchw 2
        segmentation_models_pytorch.decoders.manet.decoder:PABBlock(pab_channels=32)
        segmentation_models_pytorch.decoders.deeplabv3.decoder:ASPP(64, 64, (12, 24, 36), dropout=0.5, separable=False)
        segmentation_models_pytorch.decoders.deeplabv3.decoder:ASPP(64, 64, (12, 24, 36), dropout=0.5, separable=True)
        segmentation_models_pytorch.decoders.pspnet.decoder:PSPModule
        segmentation_models_pytorch.base.modules:SCSEModule
    """,
    "kornia": """
        kornia.feature.loftr.loftr_module.transformer:LoFTREncoderLayer(64, 4)  nlc 2
    """,
    "transformers": """
        zoo_adapters:Segformer
        zoo_adapters:Swin
        zoo_adapters:Dinov2
    """,
    "mambapy": """
        zoo_adapters:Mamba
        zoo_adapters:Mamba(pscan=False)
    """,
    "fightingcv-attention": """
        fightingcv_attention.attention.CrissCrossAttention:CrissCrossAttention
        fightingcv_attention.attention.ExternalAttention:ExternalAttention(S=32)  nlc
        fightingcv_attention.attention.CoTAttention:CoTAttention(kernel_size=3)
        fightingcv_attention.attention.A2Atttention:DoubleAttention(c_m=32, c_n=32)
        fightingcv_attention.attention.PolarizedSelfAttention:ParallelPolarizedSelfAttention
        fightingcv_attention.attention.ACmixAttention:ACmix(out_planes=64)
        fightingcv_attention.attention.OutlookAttention:OutlookAttention(num_heads=4)  nhwc
        fightingcv_attention.attention.TripletAttention:TripletAttention
        fightingcv_attention.attention.gfnet:Block(h=32, w=17)  nlc
        fightingcv_attention.attention.CoordAttention:CoordAtt(64, 64)
    """,
    "reformer-pytorch": """
        reformer_pytorch:LSHSelfAttention(heads=4, bucket_size=64)  nlc
        reformer_pytorch:Reformer(depth=1, heads=4, bucket_size=64)  nlc
    """,
    "g-mlp-pytorch": """
        g_mlp_pytorch.g_mlp_pytorch:gMLPBlock(dim_ff=128, seq_len=1024)  nlc
    """,
    "perceiver-pytorch": """
        perceiver_pytorch.perceiver_pytorch:Attention(64, heads=4)  nlc
    """,
}


def _read(package, line):
    text, _, rest = line.strip().partition("  ")
    words = rest.split()
    layout = next((word for word in words if word[:1] == "n"), "nchw")
    inputs = next((int(word) for word in words if word.isdigit()), 1)
    modes = ("eval",) if "eval" in words else ("eval", "train")
    return Block(package, text, layout, inputs, modes)


BLOCKS = tuple(
    _read(package, line) for package, lines in _TEXTS.items() for line in lines.strip().splitlines()
)

"""Calls a gRPC method with grpcio and no word of a proxy or a credential: variables of the environment must do."""

import sys

import grpc

with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary(sys.argv[2])(b"hello", timeout=20).decode())

"""Rounds of Flower's FedAvg over all sites; writes when each round was done."""

import json
import time

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

LAYER = 1 << 15  # values of an array, as in bench/federation/simulated_federation.cc

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    sites, values, rounds = int(config["sites"]), int(config["values"]), int(config["rounds"])
    layers = [np.zeros(min(LAYER, values - at), np.float32) for at in range(0, values, LAYER)]
    strategy = FedAvg(
        fraction_train=1.0,
        fraction_evaluate=0.0,
        min_train_nodes=sites,
        min_evaluate_nodes=0,
        min_available_nodes=sites,
    )
    done = []

    def after_round(number, arrays):
        done.append(time.monotonic())  # once before the first round

    strategy.start(grid=grid, initial_arrays=ArrayRecord(layers), num_rounds=rounds, evaluate_fn=after_round)
    with open(config["times"], "w", encoding="utf-8") as file:
        json.dump([after - before for before, after in zip(done, done[1:])], file)

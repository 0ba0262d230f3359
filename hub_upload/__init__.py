"""From a checkpoint to a published model: conversion, card, verification, upload, endpoint and Space."""

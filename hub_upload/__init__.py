"""From a checkpoint to a published model: conversion of the authors' weights."""
